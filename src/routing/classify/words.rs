//! The words, all languages in one place: a line is a dimension, the category
//! it votes for, and words parted by `|`.
//!
//! A word stands for itself; `deriv*` for all words that begin so, `*nachweis`
//! for all that end so, `^is` for one that begins a sentence. Scripts without
//! spaces, and those whose words change at both ends, are looked for anywhere.
//! Case and accents do not matter. To teach a language, add lines.

use super::category::Category as C;
use super::dimensions::Dimension as D;

/// A line of the lexicon.
pub(super) struct Line(pub D, pub Option<C>, pub &'static str);

/// The lexicon. One word may stand under several dimensions.
#[rustfmt::skip]
pub(super) const LINES: &[Line] = &[
    // Greetings, thanks, assent: English, German, French, Spanish, Portuguese, Italian, Dutch and more.
    Line(D::SmallTalk, Some(C::Chat), "
        hi | hello | hey | heya | hiya | howdy | yo | sup | hi there | hey there | hello there | hello again | good morning | sleep well |
        non merci ca ira | ca ira | またね | じゃあ | じゃ | じゃあまた | それじゃ | good afternoon | good evening | good night |
        morning | evening | greetings | welcome | welcome back | what's up | whats up | how are you | how are you doing | how's it going |
        how is it going | nice to meet you | long time no see
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        thanks | thank you | thank u | thx | ty | tysm | cheers | much appreciated | appreciate it | thanks a lot | thanks a bunch |
        thanks so much | thank you so much | thank you very much | many thanks | for your help | for the help | no problem | np |
        no worries | you're welcome | my pleasure | sorry | my bad | oops | excuse me | pardon
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        no | nope | nah | no thanks | great | good | very good | cool | nice | nice one | perfect | awesome | amazing | excellent |
        wonderful | fantastic | brilliant | lovely | gotcha | i see | understood | makes sense | fair enough | true | indeed | noted |
        jusqu'ici tout va bien | tout va bien | talk to you | talk to you later | talk to you tomorrow | tomorrow | roger | roger that |
        will do | maybe | never mind | nevermind | that's all | that is all | good job | great job | well done | wow | haha | hahaha |
        lol | lmao | hmm | hm | ah | oh | oh ok | bye | bye bye | goodbye | good bye | see you | see ya | see you later |
        see you tomorrow | later | talk later | ttyl | cya | take care | have a nice day | have a good day | have a great day |
        have a good one | test | testing | ping | stop | wait | one moment | hang on | hold on | i'm back | back
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        hallo | guten morgen | guten tag | guten abend | gute nacht | moin | moin moin | servus | gruss gott | gruezi | wie geht's |
        wie gehts | wie geht es dir | wie geht es ihnen | danke | danke schon | dankeschon | danke sehr | vielen dank | besten dank |
        herzlichen dank | tausend dank | danke dir | bitte schon | bitteschon | gern geschehen | nein | nein danke | nee | doch | stimmt |
        richtig | gut | sehr gut | super | toll | prima | klasse | perfekt | verstanden | verstehe | ach so | tschuss | tschau |
        auf wiedersehen | bis spater | bis bald | bis morgen | bis dann | schonen tag | schonen tag noch | fertig | fur die hilfe |
        fur deine hilfe
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        bonjour | bonsoir | salut | coucou | bonne nuit | bonne journee | bonne soiree | ca va | comment ca va | comment vas-tu |
        comment allez-vous | merci | merci beaucoup | merci bien | mille mercis | un grand merci | merci pour ton aide |
        merci pour votre aide | s'il te plait | s'il vous plait | svp | stp | de rien | je vous en prie | non | non merci | compris |
        genial | tres bien | bien | au revoir | a bientot | a demain | a plus | a plus tard | desole
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        hola | buenos dias | buen dia | buenas | buenas tardes | buenas noches | que tal | como estas | como esta | como va | gracias |
        muchas gracias | mil gracias | gracias por tu ayuda | gracias por la ayuda | por tu ayuda | de nada | perfecto | muy bien |
        estupendo | excelente | entendido | entiendo | exacto | adios | chao | hasta luego | hasta pronto | hasta manana | nos vemos |
        lo siento | perdon
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        ola | oi | bom dia | boa tarde | boa noite | tudo bem | tudo bom | como vai | e ai | obrigado | obrigada | muito obrigado |
        muito obrigada | obrigado pela ajuda | obrigada pela ajuda | pela ajuda | valeu | nao | perfeito | otimo | legal | entendi |
        tchau | ate logo | ate mais | ate amanha | desculpa | desculpe | brigado
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        ciao | buongiorno | buonasera | salve | grazie | grazie mille | prego | perfetto | capito | arrivederci | come stai | hoi |
        goedemorgen | goedemiddag | goedenavond | dank je | dank je wel | bedankt | dankjewel | graag gedaan | hoe gaat het | tot ziens |
        doei | hej | tack | tack sa mycket | takk | tak | god morgon | czesc | dzien dobry | dziekuje | dzieki | merhaba | selam |
        tesekkurler | tesekkur ederim | tamam | evet | privet | xin chao | cam on | terima kasih | halo | selamat pagi
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        привет | здравствуйте | здравствуй | добрый день | доброе утро | добрый вечер | спасибо | большое спасибо | спасибо большое |
        пожалуйста | нет | понятно | понял | отлично | пока | до свидания | как дела | ок | дякую | привіт
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        你好 | 您好 | 你们好 | 大家好 | 嗨 | 哈喽 | 哈啰 | 早上好 | 早安 | 下午好 | 晚上好 | 晚安 | 早 | 谢谢 | 多谢 | 感谢 | 谢了 |
        谢谢你 | 非常感谢 | 谢谢您 | 不客气 | 没关系 | 没事 | 不 | 不用 | 不是 | 不用了 | 明白 | 明白了 | 知道了 | 懂了 | 收到 | 太好了 |
        很好 | 真棒 | 不错 | 再见 | 拜拜 | 回头见 | 你好吗 | 在吗 | 辛苦了 | 請 | 謝謝 | 哈哈
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        こんにちは | こんばんは | おはようございます | おはよう | おやすみなさい | おやすみ | はじめまして | やあ | もしもし |
        よろしくお願いします | よろしく | ありがとうございました | ありがとうございます | ありがとう | どうも | 感謝します | すみません |
        ごめんなさい | ごめん | いいえ | ううん | わかりました | 分かりました | わかった | 分かった | 承知しました | 大丈夫です | 大丈夫 |
        いいですね | いいね | そうですね | なるほど | さようなら | じゃあね | また明日 | お疲れ様です | お疲れ様でした | お疲れ様 |
        元気ですか | お元気ですか | 本当に | 助かりました
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        नमस्ते | नमस्कार | प्रणाम | हैलो | हेलो | हाय | शुभ प्रभात | सुप्रभात | शुभ रात्रि | शुभ संध्या | धन्यवाद | बहुत बहुत धन्यवाद |
        शुक्रिया | कृपया | नहीं | अच्छा | बढ़िया | बहुत अच्छा | समझ गया | समझ गई | अलविदा | फिर मिलेंगे | कैसे हो | कैसे हैं |
        आप कैसे हैं | क्या हाल है
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        안녕하세요 | 안녕 | 감사합니다 | 고마워요 | 고마워 | 고맙습니다 | 아니요 | 좋아 | 알겠습니다 | 알겠어요 | 괜찮아요 |
        안녕히 가세요 | مرحبا | السلام عليكم | صباح الخير | مساء الخير | شكرا | شكرا لك | شكرا جزيلا | لا | مع السلامة | สวัสดี | ขอบคุณ |
        שלום | תודה
    "),

    Line(D::SmallTalk, Some(C::Chat), "
        ca roule | ca gaze | ca va bien | quoi de neuf | tudo certo | tudo joia | tudo bem por ai | que onda | que hay | que tal todo |
        was geht | was geht ab | was los | alles gut | alles gut bei dir | come va | tutto bene | hoe is het | как жизнь | как ты |
        salutations | yo yo | g'day | good to see you | how have you been | how's your day | how do you do | how are things |
        are you there | you there | anyone there | anybody there | i appreciate it | appreciated | thank god | thanks again |
        thanks in advance | no thank you | not now | not really | i agree | me too | same here | same | whatever | congrats |
        congratulations | happy birthday | merry christmas | happy new year | welcome aboard | i'm done | all good | all set |
        good point | good idea | good to know | interesting | great work | nice work | sweet | dope | neat | rofl | omg | brb | gtg |
        idk | nvm | pls | plz | kewl | k thanks | nighty night | sweet dreams | cheerio | so long | farewell | peace | peace out |
        catch you later | until next time | that's everything | that's it | that was it | good luck | bless you | shukriya | dhanyavad |
        dhanyawad | namaste | namaskar | theek hai | thik hai | accha | acha | haan | han | nahi | kaise ho | kya haal hai | alvida |
        arigato | arigatou | konnichiwa | ohayo | sayonara | ni hao | nihao | xiexie | xie xie | zaijian | spasibo | annyeong |
        hallochen | hi zusammen | schlaf gut | mahlzeit | danke nochmal | danke fur alles | lieb von dir | das war's | das wars |
        war's das | schonen feierabend | schones wochenende | tschussi | bis nachher | mach's gut | machs gut | nix zu danken |
        kein problem | keine ursache | macht nichts | egal | nicht schlecht | geil | cool danke | jep | jo | joa | nö | ach | aha |
        achso | mille merci | merci a toi | merci d'avance | avec plaisir | pas de probleme | pas de souci | y a pas de quoi | enchante |
        bon apres-midi | bonne fin de journee | bon week-end | a tout a l'heure | a la prochaine | nickel | top | impec | ouf | bof |
        mdr | genial merci | formidable | magnifique | c'est parfait | c'est tout | ce sera tout | j'ai compris | je comprends | je vois |
        tant mieux | felicitations | gracias de nuevo | gracias por todo | muchisimas gracias | te lo agradezco | con gusto |
        no hay problema | no pasa nada | encantado | mucho gusto | buen fin de semana | que descanses | cuidate | hasta la proxima |
        hasta la vista | guay | chevere | jaja | jajaja | ok gracias | eso es todo | nada mas | entendido gracias | ya veo | bien hecho |
        felicidades | obrigado por tudo | muito obrigado mesmo | agradeco | imagina | sem problema | sem problemas | prazer |
        bom fim de semana | ate a proxima | ate breve | abraco | abracos | falou | blz | vlw | kkk | kkkk | rs | show | show de bola |
        massa | maravilha | que bom | bacana | tranquilo | e isso | so isso | isso e tudo | parabens | grazie di tutto | figurati |
        buonanotte | a presto | a domani | certamente | benissimo | bene grazie | piacere | welterusten | fijne dag | geen probleem |
        oke | leuk | doeg | tot morgen | hejsan | hej da | mange tak | kiitos | hei | moi moi | do widzenia | do zobaczenia | dobra |
        gunaydin | iyi geceler | gorusuruz | salut tout le monde | multumesc | buna | buna ziua | ahoj | dekuji | dobry den | szia |
        koszonom | γεια σου | ευχαριστω | καλημερα
    "),
    Line(D::SmallTalk, Some(C::Chat), "
        最近怎么样 | 最近好吗 | 元気 | 調子はどう | क्या चल रहा है | सब ठीक | सब बढ़िया | 잘 지내 | спокойной ночи | всего доброго |
        благодарю | здорово | круто | супер | ясно | увидимся | не за что | окей | 心から | ありがとうね | ありがとー | あざす |
        サンキュー | 助かります | どういたしまして | 失礼します | お先に失礼します | いってきます | ただいま | おかえり | すごい |
        素晴らしい | 最高 | やった | なるほどね | そっか | へえ | いや | いえ | 結構です | また後で | さよなら | バイバイ | 良い一日を |
        良い週末を | 嬉しい | 谢啦 | 感激 | 感谢你 | 感谢您 | 麻烦了 | 麻烦你了 | 打扰了 | 抱歉 | 对不起 | 早啊 | 早呀 | 午安 | 晚上好呀 |
        嗨喽 | 在不在 | 你好呀 | 您好呀 | 厉害 | 牛 | 赞 | 棒 | 完美 | 哇 | 嘿 | 嘻嘻 | 没有了 | 没了 | 就这些 | 先这样 | 下次见 |
        明天见 | 周末愉快 | 新年快乐 | 生日快乐 | 辛苦啦 | 好哒 | 好滴 | 好呀 | 好嘞 | 嗯好 | ok的 | शुभ दिन | शुभ दोपहर | राम राम |
        सलाम | आदाब | खुश रहो | माफ़ कीजिए | माफ़ करना | माफ कीजिए | कोई बात नहीं | वाह | शानदार | बहुत बढ़िया | सही | सही है | चलो |
        चलिए | बस | इतना ही | कल मिलते हैं | मिलते हैं | ख्याल रखना | 안녕히 | 잘 자요 | 반가워요 | 수고하셨습니다 | 좋습니다 | 아니 |
        응 | 그래 | ㅋㅋ | ㅎㅎ | أهلا | مرحبا بك | كيف حالك | وداعا | ممتاز | رائع
    "),

    // Assent: go on with what was spoken of.
    Line(D::Assent, None, "
        absolutely | adelante | agreed | all right | alles klar | alright | apply it | beleza | bien sur | bitte | c'est bon | ca marche |
        certo | claro | claro que si | combinado | continua | continue | correct | d'accord | da | de acuerdo | definitely | do it |
        do that | entendu | esta bem | exactement | exactly | fine | genau | gern | gerne | go ahead | go on | got it | hazlo |
        in ordnung | ja | ja bitte | jawohl | k | kk | klar | let's go | lgtm | listo | looks good | looks good to me | mach das |
        mach weiter | make it so | more | na klar | naturlich | next | of course | ok | ok d'accord | okay | okey | ouais | oui |
        parfait | passt | please | please do | pode continuar | pode fazer | pode ser | por favor | proceed | ship it | si | si grazie |
        sigue | sim | sounds good | sounds great | sure | sure thing | ta | ta bom | that works | va bene | vale | vas-y | weiter |
        works for me | yeah | yep | yes | yes please | yup | да | давай | ладно | продолжай | хорошо | تمام | حسنا | نعم | आगे बढ़ो |
        कर दो | करो | जरूर | ज़रूर | जी | जी हाँ | ठीक | ठीक है | बिल्कुल | हाँ | हां | うん | ええ | お願いします | そうです | はい |
        オッケー | オーケー | 了解 | 了解しました | 了解です | 可以 | 嗯 | 嗯嗯 | 好 | 好吧 | 好啊 | 好的 | 对 | 对的 | 就这样做 | 当然 |
        是 | 是的 | 没问题 | 続けて | 继续 | 行 | 请继续 | 계속 | 네 | 예 | 좋아요
    "),

    // Words that neither ask nor tell, when a greeting or thanks is among them.
    Line(D::Filler, None, "
        a | a lot | a todos | a tous | again | all | alles | amigo | and | bot | bro | buddy | c'est | chatgpt | claude | com voce |
        dann | das | day | dich | dir | done | dude | everyone | for | for now | friend | guys | here | is | ist | it | jo | leute | man |
        mate | na | ne | right | sehr | so | so much | that | the | then | there | this | todo | too | tout | very much | war's | was |
        you | zusammen | आप | आपका | बहुत | है | ครับ | ค่ะ | 。 | です | ね | よ | 了 | 你 | 吗 | 呀 | 哦 | 啊 | 帮助 | 帮忙 | 您 | 的 |
        i | i'm | me | my | your | we | us | he | they | to | in | of | on | at | be | am | are | have | had | got | with | from | but |
        or | now | today | tonight | really | very | everything | think | thought | need | needed | helped | help | helpful | out | up |
        much | what i | will | i'll | that's | it's | its | love | lovely | nice | weekend | evening | week | time | rest | enjoy | talk |
        soon | later | ich | du | wir | mir | mich | dein | deine | ihr | ihnen | der | die | den | ein | eine | einen | war | bin |
        bist | hat | hast | mit | und | oder | zu | im | auf | von | fur | noch | schon | schonen | schones | heute | abend | wochenende |
        feierabend | geholfen | hilfe | wirklich | bis | je | tu | moi | toi | vous | nous | te | le | la | les | un | une | des | de |
        et | ou | en | pour | est | es | sur | avec | bien | tres | aujourd'hui | soir | week-end | journee | soiree | aide |
        tout le monde | yo | mi | usted | el | los | las | una | y | o | con | por | para | que | muy | hoy | dia | tarde | noche |
        ayuda | nada | mas | nada mas | tengas | buen | buena | fin de semana | eu | voce | meu | minha | seu | sua | os | as | um | uma |
        e | do | da | com | muito | hoje | ajuda | semana | tenha | bom | boa | mesmo | io | il | lo | di | per | molto | ik | het | een |
        van | voor | 我 | 他 | 们 | 今天 | 明天 | 大家 | 真的 | 帮我 | 帮了 | 不 | 那 | 先 | 就 | 吧 | 呢 | 天 | では | 失礼します |
        それでは | 本当 | とても | 今日 | また | また今度 | ました | मैं | मुझे | आपने | मेरी | मदद | के लिए | की | का | और | आज | दोस्त |
        भाई | bhai | yaar | ji | dost | halt | nen | eh | bah | ben | oh | ah | pues | bueno | tio | cara | mano | gente
    "),

    // Facts: a question word, at the beginning of a short message.
    Line(D::FactQuestion, Some(C::Fact), "
        what is | what's | whats | what are | what was | what were | what does | what did | what color | what colour | what year |
        what time | what day | what language | what currency | ^which | which country | which city | which planet | which language | who |
        who's | whose | whom | ^when | when did | when was | when is | when's | ^where | where is | where's | how many | how much |
        how old | how tall | how long | how far | how high | how big | how deep | how fast | how hot | how often | how do you say |
        how do i spell | how do you pronounce | how do you spell | how do i say | ^is | ^are | ^was | ^were | ^does | ^do | ^did | ^can |
        ^has | ^have | ^will | ^define | ^name | ^spell | tell me the | what word | the word for | word for | symbol for | synonym for |
        synonym of | antonym of | opposite of | plural of | default port | shortcut for | capital of | population of | whats the |
        how hot is | temperature | in what | in which | on what | at what | the capital of
    "),
    Line(D::FactQuestion, Some(C::Chat), "
        tell me a joke | joke | your name | who are you | are you | do you | can you | favorite | favourite | i'm bored | im bored |
        bored | how was your | i feel | i like | i love | my weekend | guess what | fun fact | riddle | tell me something | my day |
        made my | recommend a movie | recommend a song | suggest a movie | suggest a film | suggest a song | what do you think
    "),
    Line(D::FactQuestion, Some(C::Chat), "
        witz | wie heisst du | wer bist du | bist du | magst du | langweilig | blague | comment tu t'appelles | qui es-tu |
        tu t'appelles | chiste | como te llamas | quien eres | piada | quem e voce | seu nome | 笑话 | 你叫什么 | 你是谁 | 你喜欢 | 无聊 |
        ジョーク | 冗談 | 面白い話 | あなたの名前 | 好きな | चुटकुला | तुम्हारा नाम | आपका नाम | तुम कौन | आप कौन
    "),
    Line(D::FactQuestion, Some(C::Fact), "
        was ist | was sind | was bedeutet | was heisst | was war | was kostet | wer | wer ist | wer war | wann | ^wo | wo liegt | wo ist |
        wie viel | wie viele | wieviel | wieviele | wie heisst | wie hoch | wie lang | wie lange | wie alt | wie gross | wie weit |
        wie spat | wie schreibt man | wie sagt man | ^welche | ^welcher | ^welches | in welchem | in welcher | nenne | ^ist | ^sind |
        ^hat | ^gibt es | ^kann man | was macht | hauptstadt | uhrzeit | das wort fur
    "),
    Line(D::FactQuestion, Some(C::Fact), "
        qu'est-ce que | qu'est ce que | c'est quoi le plus | c'est quoi la capitale | c'est quand | ^qui | qui est | qui a | ^quand |
        ou se trouve | ou est | ou se situe | combien | quel | quelle | quels | quelles | que signifie | que veut dire | comment dit-on |
        comment s'appelle | est-ce que | est-ce qu' | en quelle | en quel | a quelle | capitale | monnaie | le mot pour
    "),
    Line(D::FactQuestion, Some(C::Fact), "
        que significa | quien | quien es | quienes | quien fue | quien escribio | ^cuando | cuando fue | cuando se | cuando es | ^donde |
        donde esta | cuanto | cuantos | cuanta | cuantas | cual | cual es | cuales | como se dice | como se llama | como se escribe |
        en que | a que | que hora | que dia | ^es | ^hay | ^de que | capital de | moneda | que calor | que frio | la palabra
    "),
    Line(D::FactQuestion, Some(C::Fact), "
        o que significa | quem | quem e | quem foi | quem escreveu | ^quando | quando foi | quando e | ^onde | onde fica | quanto |
        quantos | quanta | quantas | qual | qual e | quais | como se diz | como se escreve | em que | que horas | capital d* | moeda |
        como se fala | curiosidade | a palavra
    "),
    Line(D::FactQuestion, Some(C::Fact), "
        che cos'e | cos'e | cosa | chi | quando | dove | quanti | quante | quale | wat is | wie is | waar | wanneer | hoeveel | welke |
        что такое | кто | когда | где | сколько | какой | какая | какое | как называется | как переводится | vad ar | vem | hvad er |
        co to jest | kto | kiedy | gdzie | ile | nedir | kim | nerede | kac
    "),
    Line(D::FactQuestion, Some(C::Fact), "
        是什么 | 是谁 | 谁是 | 谁 | 哪里 | 在哪 | 哪个 | 哪一 | 哪年 | 哪些国家 | 什么时候 | 何时 | 多少 | 几个 | 几点 | 几天 | 几只 |
        几岁 | 几月 | 几条 | 几次 | 多大 | 多高 | 多长 | 多远 | 多久 | 首都 | 怎么说 | 怎么读 | 怎么念 | 怎么拼 | 现在几 | 是什么意思 |
        叫什么 | 什么颜色 | 吗？ | 吗? | 是不是 | 有没有
    "),
    Line(D::FactQuestion, Some(C::Fact), "
        は何ですか | は何？ | は何? | は？ | は? | 何時 | 何年 | 何日 | 何人 | 何个 | 何個 | 何度 | 何語 | 何メートル | 何番 | 何と言 |
        いくつ | いくら | どこ | だれ | 誰 | いつ | どれくらい | どのくらい | どの国 | どちら | ですか | は何 | 何ポンド | 何グラム |
        何キロ | なんて言う
    "),
    Line(D::FactQuestion, Some(C::Fact), "
        क्या है | क्या हैं | कौन | कब | कहाँ | कहां | कितना | कितने | कितनी | किसने | किस | राजधानी | क्या होता | का नाम | कब मिली |
        कौन सा | कौन सी | क्या कहते | मतलब
    "),
    Line(D::FactQuestion, Some(C::Fact), "
        무엇 | 뭐 | 누구 | 언제 | 어디 | 몇 | 얼마 | 수도 | ما هو | ما هي | من هو | متى | أين | كم | عاصمة
    "),
    Line(D::FactQuestion, Some(C::Translation), "
        translate | translation | ubersetz* | tradui* | traduce | traducir | traduz* | traduci | vertaal | переведи | 翻译 | 用英语 |
        用英文 | 訳して | 英語で | 訳す | अनुवाद | 번역 | in spanish | in french | in german | in japanese | auf englisch | auf deutsch |
        auf franzosisch | auf spanisch | en anglais | en ingles | em ingles
    "),
    Line(D::FactQuestion, Some(C::Math), "
        square root | percent | percentage | % of | minus | times | divided by | sum of | half of | multiply | prozent | quadratwurzel |
        wurzel aus | mal | geteilt durch | pour cent | racine carree | fois | divise par | por ciento | raiz cuadrada | dividido |
        por cento | raiz quadrada | 平方根 | 加 | 减 | 乘 | 除以 | 百分之 | 等于 | 足す | 掛ける | 割る | パーセント | प्रतिशत | वर्गमूल |
        गुणा | जोड़ | calculate | berechne | calcule | calcula | calculez | 计算 | 計算 | गणना | round | wie viel ist | combien font |
        cuanto es | quanto e
    "),

    Line(D::FactQuestion, Some(C::Math), "
        ^convert | fahrenheit | celsius | in km | to km | in miles | to miles | in pounds | to pounds | in kg | to kg | in inches |
        to inches | in cm | to cm | in euros | to euros | in dollars | to dollars | in feet | to feet | in grams | ounces | in litres |
        in liters | gallons | hex to decimal | in binary | roman numeral* | timezone | in meter | in kilometer | in meilen | pfund |
        en kilometres | en metres | en euros | en kilometros | en millas | en libras | em quilometros | em milhas | em libras | 摄氏 |
        华氏 | 公里是 | 英里 | 公斤 | 磅 | マイル | インチ | ポンド | किलोमीटर | मील
    "),
    Line(D::FactQuestion, Some(C::InstructionFollowing), "
        ^say | ^repeat | ^sag | ^sage | ^wiederhole | ^dis | ^repete | ^di | ^repite | ^diga | ^repita | yes or no | ja oder nein |
        oui ou non | si o no | sim ou nao | 重复 | 说一遍 | 回答是或否 | と言って | とだけ | 繰り返して | बोलो | हाँ या नहीं | just say |
        with one word | mit einem wort | en un mot | con una palabra | com uma palavra | 一个词 | 一言で答え | एक शब्द
    "),
    Line(D::FactQuestion, Some(C::Chat), "
        how are you feeling | how do you feel | what are you doing | what are you up to | was machst du | wie fuhlst du | que fais-tu |
        que haces | o que voce esta | 你在做什么 | 你在干嘛 | 何してる | क्या कर रहे | do you like | do you have a | are you human |
        are you a | are you real | how old are you | where are you from | can we chat | let's chat | talk to me | chat with me |
        keep me company | feeling | i'm tired | i am tired | i'm sad | i'm happy | i'm hungry | bin mude | mir ist langweilig |
        erzahl mir was | erzahl mir einen | erzahl einen | raconte-moi une blague | je m'ennuie | je suis fatigue | estoy aburrid* |
        estoy cansad* | cuentame un chiste | cuentame algo | me aburro | estou entediad* | estou cansad* | conta uma | me conta | 聊天 |
        聊聊 | 聊两句 | 陪我 | 讲个 | 心情 | 累了 | 暇 | 疲れた | 話して | 雑談 | 眠い | बोर हो | थक गया | मज़ाक सुना | मजेदार | बात करो |
        bore ho | शायरी
    "),

    Line(D::FactQuestion, Some(C::ToolUse), "
        weather | right now | currently | exchange rate | stock price | opening hours | wetter | aktuell* | meteo | en ce moment |
        actuellement | el tiempo en | ahora mismo | clima en | previsao do tempo | agora | tempo em | 天气 | 气温 | 现在 | 天気 | 気温 |
        今の | 現在の | 最新の | मौसम | तापमान | अभी | ताज़ा | погода | сейчас
    "),

    // The asker says that it is small.
    Line(D::SmallScope, None, "
        in a few words | in few words | the idea | the gist | just the idea | no more than two | paragraph | a short | short answer |
        quick question | short | brief | briefly | quick | quickly | simple | simply | tiny | small | in one sentence | one sentence |
        in a sentence | one-liner | one line | one word | a word | two sentences | in short | just | basic | like i'm five | eli5 |
        this sentence | beginner | hello world | a tweet
    "),
    Line(D::SmallScope, None, "
        in wenigen worten | in ein paar worten | kurz gesagt | en quelques mots | en pocas palabras | en pocas lineas |
        em poucas palavras | resumidamente | con palabras sencillas | palavras simples | kinderleicht | kurz | kurze | kurzen | kurzer |
        kurzes | einfach | einfache | einfaches | einfachen | in einem satz | ein satz | zwei satzen | klein* | schnell | knapp | court |
        courte | bref | brievement | simplement | une phrase | en une phrase | petit | petite | rapide | corto | corta | breve |
        brevemente | sencillo | sencilla | una frase | una oracion | pequeno | pequena | curto | curta | simples | uma frase | rapido |
        rapidamente
    "),
    Line(D::SmallScope, None, "
        几句话 | 三言两语 | 通俗 | 简单 | 简短 | 一句话 | 简要 | 简洁 | 小 | 手短に | ざっくり | 短い | 短く | 簡単 | 一文 | 一言 | 簡潔 |
        シンプル | संक्षिप्त | संक्षेप | छोटा | छोटी | छोटी सी | सरल | एक वाक्य | короткий | кратко | простой | простыми | semplice |
        kort | eenvoudig | 간단 | 짧은
    "),
    Line(D::SmallScope, Some(C::Writing), "
        typo | typos | spelling | grammar | capitalize | uppercase | lowercase | tippfehler | rechtschreib* | grammatik | faute | fautes |
        orthographe | ortografia | gramatica | gramatical | erros | 错别字 | 语法错误 | 誤字 | 文法 | वर्तनी | व्याकरण
    "),

    // Explanations.
    Line(D::Explanation, Some(C::Explanation), "
        c'est quoi | what is a | what is an | what's a | what's an | whats a | whats an | what are the | what does it mean | used for |
        what is the point | evidence | explain | explains | explaining | explanation | describe | how does | how do i | how do we |
        how do they | how do the | how do you make | how do you write | how do you use | how do computers | how do planes | how can i |
        how to | how is it | how is a | how are the | how are they | how did | how would | how should | why did | why can | why can't |
        why isn't | why doesn't | why | why is | why does | why do | why are | difference | differences | difference between | differ |
        meaning of | tell me about | teach me | walk me through | what happens | what causes | give an example | examples of |
        what went wrong | whats wrong | what's wrong | what is wrong | purpose of | benefits | advantages | introduction | overview |
        concept | in simple terms | works | work | mean by
    "),
    Line(D::Explanation, Some(C::Explanation), "
        was ist ein | was ist eine | was sind die vorteile | was macht ein | was macht | was bringt | wozu | wofur | erklar* | erlauter* |
        beschreib* | wie funktioniert | wie funktionieren | wie kann ich | wie entsteh* | wie wird | wie mache ich | warum | wieso |
        weshalb | unterschied | unterschiede | was passiert | vorteile | nachteile | bedeutung | qu'est-ce qu'un | qu'est-ce qu'une |
        c'est quoi un | c'est quoi une | a quoi sert | a quoi servent | pour quoi faire | ce qu'est | expliqu* | decri* |
        comment fonctionne | comment fonctionnent | comment faire | comment ca | comment on | comment est | comment sont | comment se |
        comment marche | comment un | comment une | comment le | comment la | comment les | comment puis-je | comment je | comment creer |
        pourquoi | avantages | role de
    "),
    Line(D::Explanation, Some(C::Explanation), "
        que es | que son | para que sirve | para que serve | o que e | o que sao | como se forma | en que consiste | em que consiste |
        por que me | explic* | describ* | descrev* | como funciona | como funcionan | como funcionam | como puedo | como posso |
        como hacer | como fazer | como se hace | por que | porque | diferencia | diferencias | diferenca | diferencas | ventajas |
        vantagens | spiega* | come funziona | perche | differenza | uitleg* | leg uit | hoe werkt | waarom | verschil | объясни* |
        опиши* | как работает | почему | разница | разницу | чем отличается | wyjasnij | dlaczego | acikla | neden | forklar | forklara
    "),
    Line(D::Explanation, Some(C::Explanation), "
        什么是 | 是什么意思 | 是怎么 | 讲讲 | 举个 | 解释 | 解釋 | 说明 | 說明 | 介绍 | 描述 | 讲解 | 为什么 | 為什麼 | 如何 | 怎么 |
        怎么做 | 怎么用 | 怎么样 | 怎么办 | 怎么写 | 怎么会 | 怎么工作 | 怎么理解 | 怎么实现 | 怎么才 | 怎样 | 区别 | 有什么不同 | 原理 |
        工作原理 | 优点 | 缺点 | 优缺点 | 概念 | 作用 | 説明 | 解説 | 教えて | 違い | 違う | とは | って何 | ってなに | なんで | なぜ |
        わかりやすく | どうして | 仕組み | どのように | どうやって | メリット | समझा | समझाओ | क्या होता है | क्या होती है |
        kya hota hai | kya hai | samjhao | samjha | kaise | kyon | kyu | kyun | वर्णन | बताइए | बताएं | बताओ | क्यों | कैसे | अंतर |
        फर्क | सिद्धांत | 설명 | 차이 | 왜 | 어떻게 | اشرح | لماذا | كيف | الفرق
    "),

    // Advice: several ways are weighed, shortly.
    Line(D::Explanation, Some(C::Explanation), "
        best way | better to | should i | what should i do | how should i | what can i do | is it worth | is it safe | is it ok to |
        advice | recipe | recipe for | prepare for | get rid of | better than | instead of | good for | what does this error |
        best practices | am besten | soll ich | sollte ich | was kann ich | lohnt sich | was hilft | rezept | tipps fur | wie werde ich |
        meilleure facon | meilleure maniere | dois-je | devrais-je | que faire | est-ce mieux | recette | vaut-il mieux | mejor manera |
        mejor forma | deberia | debo | que hago | que puedo hacer | vale la pena | receta | melhor maneira | melhor forma | devo |
        deveria | o que faco | o que posso fazer | receita | 最好的方法 | 怎么才能 | 该怎么 | 应该 | 值得 | 好处 | 食谱 | 做法 | 方法 |
        推荐几 | どうすれば | どうしたら | べきですか | おすすめ | コツ | レシピ | 作り方 | やり方 | 効果 | फायदे | फ़ायदे | लाभ |
        नुकसान | विधि | तरीका | तरीके | उपाय | क्या करूँ | क्या करना चाहिए | चाहिए | как лучше | стоит ли | рецепт | что делать |
        kaise kare | kya karu
    "),
    // A text that is there, to be put differently.
    Line(D::Rework, Some(C::Writing), "
        fix the typo | fix this sentence | fix this typo | rewrite | rephrase | reword | paraphrase | proofread | correct this |
        correct the | fix the grammar | fix the spelling | edit this | polish | more polite | more politely | more formal | less formal |
        more professional | friendlier | make this sound | make it sound | sound more | tone of this | umformulier* | formuliere um |
        formuliere das | formulier das | hoflicher | formeller | freundlicher | korrigier* | verbessere den | reformul* | plus poli |
        plus formel | plus professionnel | corrige | corriger | corrigez | reescrib* | reescrev* | mas formal | mas educado | mas cortes |
        mas profesional | mais formal | mais educad* | mais profissional | mais gentil | corrija | revise o texto | 改写 | 润色 | 改得 |
        委婉 | 更礼貌 | 更正式 | 换个说法 | 修改这句 | 書き直 | 丁寧な | 丁寧に | 言い換え | 言い方 | 校正 | 添削 | विनम्र | औपचारिक |
        सुधारो | सुधारें | दोबारा लिख | перепиши | перефразир* | исправь | вежлив* | riscriv* | herschrijf | 고쳐 | 공손하게
    "),
    Line(D::Rework, Some(C::Translation), "
        translate | translation | ubersetz* | tradui* | traduce | traducir | traduz* | traduza | traduzione | traduci | vertaal |
        переведи | перевод | 翻译 | 翻譯 | 译成 | 訳して | 翻訳 | अनुवाद | 번역 | ترجم | tercume | cevir | przetlumacz | oversatt
    "),

    // Small texts and small code: LIGHT work that is no fact.
    Line(D::ShortTask, Some(C::Writing), "
        give me a | give me some | recommend | create a | make a | make me | gib mir | mach mir | erstelle | donne-moi | fais-moi | cree |
        dame | hazme | crea | me da uma | me de | crie | faca | 给我 | 做一个 | 推荐 | write | draft | compose | improve | alt text |
        text message | birthday | wish | poem | haiku | limerick | story | bio | email | e-mail | letter | tweet | caption | slogan |
        tagline | headline | blog post | cover letter | product description | speech | toast | song | lyrics | invitation | message to |
        post about | brainstorm | ideas | suggest | names for | tips
    "),
    Line(D::ShortTask, Some(C::Writing), "
        schreib* | verfass* | formulier* | gedicht | geschichte | brief | mail | verbesser* | ideen | vorschlag* | tipps | rediger |
        redige | redigez | ecris | ecrire | ecrivez | reformul* | poeme | histoire | lettre | courriel | corrige | corriger | idees |
        conseils | escribe | escribir | escribeme | redacta | redactar | poema | cuento | carta | correo | mejora | consejos | escreva |
        escrever | redija | redigir | historia | conto | mensagem | melhore | corrija | ideias | dicas | sugira
    "),
    Line(D::ShortTask, Some(C::Writing), "
        写 | 寫 | 撰写 | 改写 | 润色 | 修改 | 诗 | 故事 | 邮件 | 信 | 文案 | 建议 | 想法 | 書いて | 作成して | 書き直 | 直して | メール |
        手紙 | 詩 | 俳句 | 物語 | 文章 | アイデア | लिख | कविता | कहानी | ईमेल | पत्र | सुझाव | सुधार | напиши | письмо | стих* |
        рассказ | scrivi | schrijf | 써줘 | 작성 | اكتب
    "),
    Line(D::Rework, Some(C::Summarization), "
        make this shorter | make it shorter | paragraph shorter | text shorter | kurzer | zusammenfassung | plus court | mas corto |
        mais curto | resumir | 缩短 | 短くして | summarize | summarise | summary | summaries | sum up | tl;dr | tldr | key points |
        main points | key takeaways | condense | shorten | gist | zusammenfass* | fasse | fass | kernpunkte | resum* | resumo |
        synthetise* | points cles | puntos clave | sintetiza | condensa | riassu* | samenvat* | кратко изложи | резюме | 总结 | 概括 |
        摘要 | 要点 | 归纳 | 要約 | まとめ | सारांश | 요약 | لخص
    "),
    Line(D::ShortTask, Some(C::Coding), "
        function | snippet | regex | regular expression | sql query | query | script | one-liner | loop | code | css | html | bash |
        command | fonction | funktion | funcion | funcao | 函数 | 正则 | 脚本 | 代码 | 関数 | 正規表現 | スクリプト | コード | फ़ंक्शन |
        फंक्शन | कोड | प्रोग्राम | скрипт | функци* | 함수 | 코드
    "),
    Line(D::ShortTask, Some(C::InstructionFollowing), "
        list of | list five | list three | give me five | give me three | give me 5 | give me 10 | give me 3 | format | formatted |
        bullet* | alphabetical* | sort | rank | reply only | answer only | respond only | answer with | exactly | extract | classify |
        categorize | sortiere | liste | aufzahl* | trie | classe | ordena | clasifica | classifique | ordene | 列出 | 分类 | 排序 | 提取 |
        並べ | 分類 | 抽出 | リスト | सूची | वर्गीकृत
    "),

    // Detailed work.
    Line(D::DetailedWork, Some(C::Coding), "
        rest-api | api rest | api in | and tests | with tests | plus tests | full test | unit and integration | type hints | mit tests |
        und tests | et des tests | et les tests | avec tests | y pruebas | con pruebas | las pruebas | y tests | e testes | com testes |
        os testes | 和测试 | 并写测试 | テストも | और टेस्ट | pytest | junit | jest | phpunit | rspec | des tests | tests jest |
        class for | klasse fur | clase para | classe para | classe pour | web scraper | script that | script bash qui | script qui |
        script das | skript, das | script que | github action | github actions workflow | smoke tests | pipeline that | plano de treino |
        plan de entrenamiento | plan d'entrainement | 学习计划 | 训练计划 | refactor* | implement* | rewrite this | port this | port the |
        migrat* | code review | review this pull | review this code | review my code | review the | unit test* | unit-test* | test suite |
        integration test* | end-to-end test* | write tests | tests for | test coverage | add support | add a feature | add pagination |
        add authentication | build a | build an | create a class | create a component | create an api | create a rest | develop | extend |
        integrate | parser | crawler | scraper | websocket* | middleware | rest api | crud | graphql api | endpoint* | web app |
        cli tool | command-line tool | dockerfile | docker-compose | ci pipeline | ci/cd | github actions | state machine | rate limiter |
        lru cache | oauth* | jwt | modulari* | vectorize | paralleli*
    "),
    Line(D::DetailedWork, Some(C::Coding), "
        refaktorier* | implementier* | programmier* | entwickle | entwickeln | entwickl* | unit-tests | komponententest* | testfalle |
        migrier* | erweiter* | refactori* | refactoris* | implemente* | implementa* | programme | developp* | tests unitaires |
        desarroll* | pruebas unitarias | refactoriz* | refator* | programa que | desenvolv* | testes unitarios | migre | migra |
        реализу* | рефактор* | юнит-тест* | напиши тесты | implementar | sviluppa | 重构 | 实现 | 实作 | 编写一个 | 单元测试 | 开发 |
        迁移 | リファクタ* | 実装 | 単体テスト | ユニットテスト | テストコード | 開発 | 移行 | रीफैक्टर | रिफैक्टर | यूनिट टेस्ट |
        लागू कर | विकसित | इम्प्लीमेंट | 구현 | 리팩토링 | 단위 테스트
    "),
    Line(D::DetailedWork, Some(C::Debugging), "
        find the cause | the cause | find out why | ursache | la cause | la causa | a causa | 原因 | कारण | debug* | bug | bugs |
        fix this bug | fix the bug | race condition | memory leak | deadlock | segfault | segmentation fault | stack trace | stacktrace |
        traceback | root cause | troubleshoot* | diagnos* | crash* | failing | fails | not working | doesn't work | exception |
        undefined | null pointer | nullpointer* | typeerror | keyerror | valueerror | error message | throws | panics | hangs |
        times out | flaky | intermittent* | regression | why does this code | leak* | 500 error | fehlermeldung | fehler | absturz* |
        sturzt ab | speicherleck | erreur | plante | fuite memoire | deboguer | debogue* | falla | fallo | depura* | fuga de memoria |
        erro | falha | vazamento | depur* | ошибк* | отлад* | 报错 | 错误 | 调试 | 排查 | 崩溃 | 内存泄漏 | 死锁 | 修复 | バグ | エラー |
        デバッグ | クラッシュ | メモリリーク | 不具合 | बग | त्रुटि | एरर | डिबग | 버그 | 디버그 | 오류
    "),
    Line(D::DetailedWork, Some(C::Coding), "
        optimize | optimise | optimizing | optimization | performance of | slow query | profile | bottleneck* | optimier* | optimis* |
        optimiz* | otimiz* | 优化 | 性能 | 最適化 | パフォーマンス | ऑप्टिमाइज़ | अनुकूलित | оптимизир* | 최적화
    "),
    Line(D::DetailedWork, Some(C::Reasoning), "
        review | examine | inspect | check the | cross-check | find all | find every | quantif* | critically compare | prufe | prufen |
        uberpruf* | begutacht* | examine* | examinez | revisa | revisar | revise | revisao | analisar | 审查 | 审核 | 检查 | 评审 |
        レビュー | 精査 | 点検 | समीक्षा | जाँचो | जांचो | जांच | पहचानो | analyze | analyse | analyzing | analysis | analytical |
        trends | identify | evaluate | assess | assessment | dataset | csv | correlation | cohort | churn | anomal* | outlier* |
        insights | segment | forecast* | statistical* | a/b test | benchmark* | analysier* | auswert* | bewert* | untersuch* | ermittl* |
        analyse* | analysez | evalu* | etudie* | analiz* | analis* | evalua* | avali* | 分析 | 评估 | 趋势 | 数据集 | 評価 | 傾向 |
        विश्लेषण | मूल्यांकन | जाँच | проанализир* | анализ* | оцени | analizza | analyseer | 분석 | 평가 | حلل | identifizier* |
        identifi* | finde trends | muster | tendenz* | tendenc* | tendances | patrones | padroes | conjunto de datos | conjunto de dados |
        jeu de donnees | datensatz | verkaufszahlen | umfrage* | encuesta | pesquisa de | sondage | 识别 | 找出 | 规律 | 特定して |
        見つけて | पहचान | रुझान
    "),
    Line(D::DetailedWork, Some(C::Research), "
        revue critique | revue de | investigate | survey | literature | sources | research | findings | investiga* | estudo | 调查 |
        研究 | 調査 | market research | research the | marktforschung | marktanalyse | recherche | etude de marche | estudio de mercado |
        estudo de mercado | fuentes | fontes | quellen | citations | cite | 市场调研 | 调研 | 资料 | 来源 | 文献 | 出典 | 情報源 |
        市場調査 | रिसर्च | स्रोत | अध्ययन | источник* | исследу*
    "),
    Line(D::DetailedWork, Some(C::Reasoning), "
        empfiehl* | empfehle | recommande | recomiende | recomienda | recomende | compare | comparing | comparison | recommend one |
        and recommend | recommendation | recommendations | trade-off* | tradeoff* | pros and cons | critique | critically | argue |
        argument | arguments | justify | weigh | decide | decision | choose between | which one should | which should |
        strengths and weaknesses | implications | vergleich* | empfehl* | abwag* | vor- und nachteile | begrund* | argumentier* |
        compar* | recommand* | avantages et inconvenients | argument* | justifi* | recomiend* | recomend* | ventajas y desventajas |
        ventajas e inconvenientes | vantagens e desvantagens | pros e contras | сравни* | порекоменд* | confronta | vergelijk | 比较 |
        对比 | 推荐 | 权衡 | 利弊 | 比較 | 推奨 | 提案して | तुलना | सिफारिश | सुझाएं | फायदे और नुकसान | 비교 | 추천 | قارن
    "),
    Line(D::DetailedWork, Some(C::Planning), "
        plan | planning | roadmap | itinerary | schedule | timeline | milestones | strategy | business plan | marketing plan |
        project plan | study plan | training plan | workout plan | meal plan | curriculum | lesson plan | go-to-market | launch plan |
        budget | checklist | agenda | onboarding | plane | planung | strategie | fahrplan | zeitplan | reiseplan | reiseroute |
        projektplan | lehrplan | lernplan | trainingsplan | businessplan | geschaftsplan | planifi* | feuille de route | itineraire |
        calendrier | plan d'affaires | planific* | hoja de ruta | itinerario | estrategia | plan de negocio* | plan de estudio* |
        cronograma | planej* | roteiro | plano | plano de negocios | plano de estudos | 计划 | 规划 | 路线图 | 策略 | 方案 | 日程 | 行程 |
        計画 | ロードマップ | 戦略 | 旅程 | スケジュール | योजना | रणनीति | कार्यक्रम | план | стратеги* | piano | 계획 | 전략 | خطة
    "),
    Line(D::DetailedWork, Some(C::Math), "
        solve | solve for | equation | equations | system of equations | integral | integrate the | derivative | differentiate |
        eigenvalue* | eigenvector* | matrix | probability | expected value | standard deviation | variance | bayes* | gradient | laplace |
        fourier | differential equation | lose die | gleichung* | ableitung | wahrscheinlichkeit | resous | resoudre | resolvez |
        equation* | probabilite | derivee | integrale | resuelve | resolver | ecuacion* | probabilidad | derivada | matriz | resolva |
        equac* | probabilidade | 求解 | 方程 | 积分 | 导数 | 概率 | 矩阵 | 微分 | 解いて | 方程式 | 積分 | 確率 | 行列 | हल कर | समीकरण |
        समाकल | अवकल | प्रायिकता | реши* | уравнени* | интеграл* | производн* | вероятност* | 방정식 | 확률
    "),
    Line(D::DetailedWork, Some(C::Reasoning), "
        logic puzzle | puzzle | step by step | step-by-step | reason through | think through | deduce | infer | what if |
        schritt fur schritt | etape par etape | pas a pas | paso a paso | passo a passo | 一步一步 | 逐步 | 推理 | ステップ | 段階的 |
        順を追って | 論理 | चरण दर चरण | क्रमबद्ध | по шагам | пошагово | 단계별
    "),

    // Design.
    Line(D::Design, Some(C::Planning), "
        *0m users | *1m users | *2m users | *5m users | *0k users | *1m qps | *0k qps | *0k rps | *0k requests | design a | design an |
        design the | design and | architect | architecture | architectural | system design | microservice* | distributed | from scratch |
        multi-tenant | multi-region | multiregion | high availability | highly available | fault-tolerant | fault tolerant | scalable |
        scalability | event-driven | event sourcing | cqrs | consensus protocol | consensus algorithm | protocolo de consenso |
        protocole de consensus | konsensprotokoll | raft | paxos | crdt* | sharding | sharded | zero-downtime | zero downtime |
        disaster recovery | threat model* | zero-trust | zero trust | data platform | data lake | reference architecture |
        migration strategy | blueprint | whitepaper | white paper | technical specification | specification | rfc | compiler |
        interpreter | operating system | kernel | database engine | query optimizer | garbage collector | type system | trading system |
        matching engine | recommendation engine | search engine | at scale | million users | million rows | million subscribers |
        million customers | million requests | billion | petabyte* | requests per second | events per second | qps | rps |
        protocol design | design doc*
    "),
    Line(D::Design, Some(C::Planning), "
        entwirf | entwerfe | entwerfen | entwurf | konzipier* | architektur | *architektur | verteilt* | skalierbar* | mandantenfahig* |
        hochverfugbar* | ausfallsicher* | fehlertoleran* | von grund auf | spezifikation | millionen | concevoir | concois | concevez |
        conception | distribue* | evolutif | evolutive | tolerant aux pannes | haute disponibilite | a partir de zero | millions |
        disena | disenar | disene | diseno | arquitectura | distribuid* | escalable | alta disponibilidad | tolerante a fallos |
        desde cero | especificacion | millones | projete | projetar | desenhe | arquitetura | escalavel | tolerante a falhas | do zero |
        especificacao | milhoes | microsserv* | microservi* | спроектир* | архитектур* | распределен* | масштабируем* | микросервис* |
        progetta* | architettura | ontwerp* | architectuur
    "),
    Line(D::Design, Some(C::Planning), "
        设计 | 設計 | 架构 | 架構 | 分布式 | 微服务 | 高可用 | 可扩展 | 容错 | 从零 | 规格 | 多租户 | 千万 | 百万 | アーキテクチャ |
        マイクロサービス | 分散システム | 分散型 | スケーラブル | 高可用性 | 耐障害 | ゼロから | 仕様書 | डिज़ाइन कर | डिजाइन कर |
        डिज़ाइन | डिजाइन | आर्किटेक्चर | वास्तुकला | माइक्रोसर्विस | वितरित | स्केलेबल | 설계 | 아키텍처 | 마이크로서비스 | 분산 | صمم |
        بنية
    "),
    Line(D::Design, Some(C::Research), "
        revue critique | revue de la litterature | kritische ubersicht | literaturubersicht | systematische ubersicht* | forschungsstand |
        revision critica | revision sistematica | revision de la literatura | revisao critica | revisao sistematica |
        revisao da literatura | estado del arte | estado da arte | etat de l'art | stand der forschung | meta-analys* | metaanalys* |
        批判性 | 系统综述 | 文献综述 | 元分析 | 批判的 | 系統的レビュー | 文献レビュー | メタ分析 | メタアナリシス | आलोचनात्मक |
        साहित्य समीक्षा | comprehensive | in-depth | in depth | exhaustive | rigorous* | critical review | hypothesis that |
        research proposal | literature review | systematic review | meta-analysis | grant proposal | dissertation | thesis | phd |
        graduate-level | research-level | peer-review* | experimental design | clinical trial | novel approach | state of the art |
        state-of-the-art | critically evaluate | umfassend* | tiefgehend* | ausfuhrliche analyse | forschungsantrag | approfondi* |
        rigoureu* | these de doctorat | exhaustiv* | en profundidad | rigurosa* | tesis | abrangente | aprofundad* | rigoros* | tese |
        全面 | 深入 | 严谨 | 综述 | 论文 | 包括的 | 徹底的 | 厳密 | 論文 | व्यापक | गहन | शोध प्रबंध | всесторонн* | подробный анализ |
        строго
    "),

    // Reasoning: the demand for a proof, not the mention of one.
    Line(D::Reasoning, Some(C::Math), "
        prove | prove that | proves | proof | proofs | proof sketch | proving | disprove | refute | derive | derivation | deriving |
        derived | show that | from first principles | q.e.d. | formal proof | rigorously | linearizability | np-complete | np-hard |
        undecidab* | decidab* | reduction from | counterexample | formally | formal verification | formal logic | first-order logic |
        modal logic | kripke | verify formally | model checking | tla+ | coq | lean 4
    "),
    Line(D::Reasoning, Some(C::Math), "
        beweis* | beweise dass | zeige dass | zeige, dass | zeigen sie | zeigen sie, dass | widerleg* | herleit* | leite her | leite aus |
        leite die | leiten sie | formal korrekt | gegenbeispiel | demontr* | prouve* | preuve | montre que | montrer que | montrez que |
        refute* | etabli* | deduis | deduire | contre-exemple | demuestr* | demostra* | demostr* | prueba que | pruebe que | deduce |
        deduzca | deriva la | derivar | refuta* | contraejemplo | prove que | provar | demonstr* | prova que | provas de | mostre que |
        derive a | derive o | deduza | contraexemplo | докажи* | доказ* | опровергн* | выведи* | вывод формулы | dimostra* | bewijs* |
        afleid* | udowodnij | kanitla* | bevisa | bevis
    "),
    Line(D::Reasoning, Some(C::Math), "
        证明 | 證明 | 推导 | 推導 | 论证 | 論證 | 反驳 | 严格证明 | 证伪 | 反例 | 証明 | 導出 | 導いて | 導け | 示せ | であることを示 |
        かどうかを示 | 背理法 | 論証 | सिद्ध कर | सिद्ध की | सिद्ध | साबित | उपपत्ति | व्युत्पन्न कर | व्युत्पत्ति | व्युत्पन्न | खंडन |
        증명 | 유도하 | 반례 | أثبت | برهن | اشتق
    "),
    Line(D::ExpertTerms, Some(C::Math), "
        theorem* | lemma* | corollary | induction | axiom* | if and only if | necessary and sufficient | irrational | infinitely many |
        converges | convergence | asymptotic* | bijection | isomorphi* | homomorphi* | manifold* | topolog* | galois | riemann* |
        hilbert | banach | cauchy | lagrangian | hamiltonian | navier-stokes | schrodinger* | closed form | closed-form | lower bound |
        upper bound | invariant* | prime numbers | unbiased | stochastic differential | eigenvalue* | measure theory | nash equilibrium |
        game theory | mechanism design | satz von | widerspruch | vollstandige induktion | irrationalzahl* | notwendig und hinreichend |
        unendlich viele | differentialgleichung* | theoreme | recurrence | par l'absurde | irrationnel* | infinite de | teorema |
        induccion | contradiccion | irracional | infinitos | inducao | contradicao | invariante | теорем* | индукци* | иррационал* |
        定理 | 引理 | 归纳法 | 反证 | 无理数 | 公理 | 充要条件 | 无穷多 | 收敛 | 不变量 | 范数 | 帰納法 | 素数 | 必要十分 | 無限に |
        無理数 | 収束 | प्रमेय | अपरिमेय | अभाज्य | अनंत | संतत | अभिसर* | 정리를 | 귀납법 | نظرية
    "),

    // Code.
    Line(D::CodePresence, Some(C::Coding), "
        code | function | functions | class | classes | method | variable | array | async | await | struct | enum | interface | api |
        python | javascript | typescript | java | rust | golang | go | c++ | c# | kotlin | swift | ruby | php | sql | postgres* | mysql |
        sqlite | mongodb | redis | react | vue | angular | svelte | next.js | node | node.js | express | django | flask | fastapi |
        spring boot | rails | laravel | pandas | numpy | pytorch | tensorflow | docker | kubernetes | terraform | git | github | json |
        yaml | xml | html | css | bash | shell | regex | algorithm | repo | repository | codebase | pull request | commit | library |
        framework | backend | frontend | server | database | schema | component | module | package | script | compile* | runtime | def |
        fn | #include | console.log | println | npm | pip | cargo | lambda | closure | recursion | recursive | binary tree | linked list |
        hash map | hashmap | pointer | thread* | mutex | null | string | integer
    "),
    Line(D::CodePresence, Some(C::Coding), "
        klasse | funktion | programm | datenbank | quellcode | skript | schnittstelle | methode | algorithmus | classe | fonction |
        base de donnees | algorithme | clase | funcion | base de datos | codigo | algoritmo | funcao | banco de dados | 代码 | 代碼 |
        函数 | 数据库 | 类 | 接口 | 算法 | 程序 | 编程 | コード | 関数 | データベース | クラス | アルゴリズム | プログラム | कोड |
        फ़ंक्शन | फंक्शन | डेटाबेस | एल्गोरिदम | प्रोग्राम | код | функци* | класс | баз* данных | алгоритм* | 코드 | 함수 | 데이터베이스
    "),

    // Terms of systems.
    Line(D::TechnicalTerms, None, "
        lock-free | wait-free | memory ordering* | atomics | hazard pointer* | lock ordering | spinlock* | scheduler | filesystem |
        file system | copy-on-write | crash recovery | checksum* | snapshot* | register allocat* | ssa | calling convention* | codegen |
        jit | bytecode | vm | virtual machine | hypervisor | interrupt* | cache coheren* | numa | network partition* | clock drift |
        leader election | quorum | exactly-once | exactly once | at-least-once | dead letter | schema evolution | stream processing |
        batch processing | flink | spark | airflow | etl | data warehouse | snowflake | bigquery | feature store | mlops | inference |
        quantiz* | attention | diffusion | variational | autoencoder | tokeniz* | vector database | retrieval | edge computing | iot |
        mqtt | real-time | realtime | low latency | p99 | sla | slo | rpo | rto | multi-cloud | hybrid cloud | iam | sso | saml | rbac |
        pki | hsm | post-quantum | side channel* | exploit* | vulnerabilit* | penetration test* | siem | soc2 | iso 27001 | drm |
        billing | ledger | double-entry | settlement | antifraud | fraud detection | authentication | authorization | oauth* | jwt |
        encryption | encrypted | cryptograph* | tls | ssl | concurren* | parallel | multithread* | thread-safe | asynchronous | latency |
        throughput | idempoten* | transaction* | consistency | eventual consistency | replication | partition* | caching | cache |
        load balanc* | rate limit* | message queue | kafka | rabbitmq | pub/sub | grpc | graphql | rest | websocket* | kubernetes | helm |
        terraform | docker | container* | observability | monitoring | prometheus | opentelemetry | ci/cd | serverless | aws | gcp |
        azure | s3 | vpc | dns | tcp | http | cdn | index | indexes | normalization | orm | acid | mvcc | wal | b-tree | bloom filter |
        neural network | transformer | embedding* | fine-tun* | gradient descent | machine learning | deep learning | llm | rag |
        reinforcement learning | cuda | gpu | simd | memory management | garbage collection | heap | complexity | big-o | o(n | o(log |
        dependency injection | solid | design pattern* | legacy | monolith* | hipaa | gdpr | pci | soc 2 | audit | compliance | failover |
        backpressure | circuit breaker | saga | fintech | payment* | blockchain | smart contract* | solidity | embedded | rtos |
        firmware | fpga | verilog
    "),
    Line(D::TechnicalTerms, None, "
        authentifizierung | verschlusselung | nebenlaufig* | nachrichtenwarteschlange | lastverteilung | datenschutz | dsgvo | latenz |
        durchsatz | zahlungs* | authentification | chiffrement | rgpd | latence | file de messages | paiement* | autenticacion | cifrado |
        latencia | concurrencia | pagos | autenticacao | criptografia | concorrencia | pagamento* | lgpd | 认证 | 加密 | 并发 | 延迟 |
        吞吐 | 一致性 | 缓存 | 消息队列 | 负载均衡 | 支付 | 电商 | 认証 | 認証 | 暗号 | 並行 | レイテンシ | 整合性 | キャッシュ |
        メッセージキュー | 決済 | 負荷分散 | प्रमाणीकरण | एन्क्रिप्शन | कैश | भुगतान | स्केल | फिनटेक | аутентификац* | шифрован* |
        платеж*
    "),

    // Terms of the professions.
    Line(D::ExpertTerms, Some(C::Science), "
        quantum | relativity | thermodynamic* | entropy | photosynthesis | dna | rna | crispr | genome | genetic* | protein* | enzyme* |
        molecul* | chemical | chemistry | physics | biology | neuron* | immun* | vaccine* | virus | bacteria* | evolution | climate |
        astronom* | black hole* | galax* | particle* | electron* | nuclear | catalys* | spectroscop* | pharmaco* | pathophysiolog* |
        differential diagnosis | patient | symptoms | clinical | oncolog* | cardio* | quanten* | relativitat* | thermodynamik |
        photosynthese | klima* | quantique | relativite | thermodynamique | cuantic* | relatividad | termodinamic* | fotosintesis |
        quantic* | relatividade | fotossintese | 量子 | 相对论 | 热力学 | 光合作用 | 基因 | 蛋白质 | 化学 | 物理 | 生物 | 黑洞 | 相対性 |
        熱力学 | 光合成 | 遺伝子 | タンパク質 | ブラックホール | क्वांटम | सापेक्षता | प्रकाश संश्लेषण | ऊष्मागतिकी | डीएनए | квантов* |
        относительности | фотосинтез*
    "),
    Line(D::ExpertTerms, Some(C::Science), "
        sky blue | rainbow | ocean | the sun | the moon | gravity | planets | ice float* | fission | fusion | cells | himmel blau |
        regenbogen | sonne | schwerkraft | meerwasser | ciel | arc-en-ciel | soleil | mer est | gravite | arcoiris | cielo | gravedad |
        hielo | arco-iris | ceu | gelo | gravidade | 彩虹 | 天空 | 海水 | 重力 | 虹 | 空が | 海の | 月の | आसमान | इंद्रधनुष |
        गुरुत्वाकर्षण | समुद्र
    "),
    Line(D::ExpertTerms, None, "
        hypothes* | methodolog* | heterogen* | confound* | bias | biases | uncertaint* | statistical power | power calculation |
        power analysis | significance | falsif* | in vivo | in vitro | organoid* | assay* | screening | lethal | inhibitor* | receptor* |
        mutation* | epidemiolog* | mortality | placebo | randomized | randomised | double-blind | biomarker* | mri | ct scan | radiolog* |
        immuno* | syndrome | etiolog* | treatment | semiconductor* | superconduct* | fluid dynamics | turbulen* | finite element |
        control theory | kalman | signal processing | spectral | perturbation* | renormaliz* | gauge | tensor* | spacetime | curvature |
        lattice | polymer* | catalyst* | stoichiometr* | equilibrium | econom* | elasticity | welfare | taxation | transfer pricing |
        ifrs | basel | solvency | sanctions | treaty | due process | fiduciary | indemni* | warrant* | governance | ethics | ontolog* |
        phenomenolog* | linguist* | syntax tree | semantics | etymolog* | historiograph* | legal | lawsuit | liability | contract |
        clause | jurisdiction | antitrust | constitutional | intellectual property | patent | regulatory | tort | arbitration | statute |
        precedent | econometric* | monetary policy | fiscal | derivatives | hedg* | portfolio | black-scholes | valuation | dcf |
        discounted cash flow | m&a | merger | balance sheet | ebitda | stochastic | bayesian | monte carlo | causal inference |
        geopolit* | macroeconomic* | inflation | kantian | hegel* | hermeneutic* | methodi* | verzerrung* | unsicherheit* | signifikan* |
        studien | klinisch* | diagnos* | therapie* | mechanismus | mechanismen | wirkstoff* | verfassung* | kartell* | gesetz* |
        geldpolitik | ethisch* | theorie | quantenelektro* | feldtheorie | biais | incertitude* | essais | clinique* | traitement |
        maladie* | diagnosti* | inhibiteur* | cardiaque | constitution* | politique monetaire | fiscal* | ethique | champ | hipotesis |
        metodolog* | sesgo* | incertidumbre* | ensayos | clinic* | tratamiento | enfermedad* | inhibidor* | politica monetaria | etica |
        teoria | hipotese* | incerteza* | ensaios | tratamento | doenca* | constitucional* | vertrag* | haftung* | rechtlich* |
        juristisch* | contrat | juridique | responsabilite | contrato | juridic* | responsabilidad | 假设 | 方法论 | 偏差 | 不确定性 |
        临床 | 诊断 | 治疗 | 机制 | 超导 | 能隙 | 场论 | 对称 | 监管 | 税 | 伦理 | 理论 | 仮説 | 方法論 | バイアス | 不確実性 | 臨床 |
        診断 | 治療 | 機構 | 理論 | 倫理 | 規制 | परिकल्पना | पद्धति | अनिश्चितता | नैदानिक | निदान | उपचार | क्षेत्र सिद्धांत | नैतिक |
        नियामक | अधिनियम | 合同 | 法律 | 宪法 | 货币政策 | 契約 | 法的 | 憲法 | 金融政策 | अनुबंध | कानूनी | संविधान | मौद्रिक
    "),

    // Acts that build on each other.
    Line(D::Agentic, Some(C::ToolUse), "
        run the tests | run tests | run the test suite | until all tests pass | until the tests pass | tests pass | open a pr |
        open a pull request | create a pr | commit the | push the | deploy | deployment | install | browse | search the web | web search |
        look up | fetch | call the api | use the tool | use tools | use the | read the file | read the files | edit the file |
        edit the files | all files | every file | across the codebase | whole repo | entire codebase | in this repo | in the repo |
        scan the | crawl | scrape | send an email | book a | book me | schedule a meeting | create a ticket | set up | configure |
        automate | workflow | pipeline | then deploy | iterate until | verify that | check whether | monitor | autonomous* | agent |
        agents | multi-agent | fuhre die tests | tests aus | bis alle tests | bereitstell* | deploye | installier* | suche im web |
        durchsuche | automatisier* | execute les tests | deploie* | deployer | installe | cherche sur | automatise* | ejecuta |
        despliega | desplegar | instala | busca en | automatiza* | execute os testes | implante | instale | pesquise na | automatiz* |
        运行测试 | 部署 | 安装 | 搜索网 | 自动化 | 执行 | テストを実行 | デプロイ | インストール | 自動化 | 検索して | टेस्ट चला | तैनात |
        डिप्लॉय | स्वचालित | запусти* | разверн*
    "),

    // Conditions.
    Line(D::Constraints, None, "
        must | must not | should | at least | at most | no more than | without | only | exactly | ensure | make sure | requirement* |
        constraint* | within | under | limit | limited | maximum | minimum | as well as | including | include | support for | supports |
        handle | handling | handles | edge cases | backward* | compatible | production | production-ready | secure | security | robust |
        error handling | comply | taking into account | considering | given that | assume | assuming | but not | except | do not | don't |
        avoid
    "),
    Line(D::Constraints, None, "
        muss | mussen | darf | sollte | soll | sollen | mindestens | hochstens | ohne | genau | inklusive | einschliesslich |
        berucksichtig* | unter beruck* | sicherstell* | anforderung* | doit | doivent | au moins | au plus | sans | exactement |
        y compris | en tenant compte | assurer | contrainte* | exigence* | debe | deben | al menos | como maximo | sin | exactamente |
        incluyendo | incluye | teniendo en cuenta | asegur* | requisito* | restriccion* | deve | devem | pelo menos | no maximo | sem |
        exatamente | incluindo | inclua | considerando | garant* | restric* | 必须 | 至少 | 最多 | 不超过 | 不使用 | 不能 | 包括 | 确保 |
        考虑 | 要求 | 支持 | 必ず | 以上 | 以下 | 以内 | ただし | 含め | 考慮 | 条件 | 対応 | せずに | कम से कम | अधिकतम | बिना | शामिल |
        सहित | सुनिश्चित | ध्यान में रख | शर्त | должен | не менее | без | включая | учитывая
    "),

    // Sequence.
    Line(D::Steps, None, "
        first | firstly | second | secondly | third | then | next | after that | afterwards | finally | lastly | step 1 | step 2 |
        step one | phase 1 | phases | zuerst | zunachst | dann | danach | anschliessend | schliesslich | zum schluss | d'abord | ensuite |
        puis | enfin | premierement | primero | luego | despues | entonces | finalmente | por ultimo | primeiro | depois | em seguida |
        por fim | 首先 | 然后 | 接着 | 其次 | 最后 | 之后 | まず | 次に | その後 | それから | 最後に | पहले | फिर | उसके बाद | अंत में |
        सबसे पहले | сначала | затем | потом | наконец
    "),

    // What is to be handed over.
    Line(D::Deliverable, Some(C::Planning), "
        marketing plan | project plan | business plan | content calendar | study plan | training plan | product description with |
        case study | landing page | onboarding flow | marketingplan | projektplan | redaktionsplan | lernplan | trainingsplan |
        plan marketing | plan de marketing | plan de projet | plan de proyecto | plan de estudio* | plano de marketing |
        plano de projeto | plano de estudos | 营销方案 | 营销计划 | 项目计划 | 学习计划 | 導入計画 | 学習計画 | プロジェクト計画 |
        マーケティング | प्रोजेक्ट प्लान | मार्केटिंग | अध्ययन योजना | समय-सारणी | बजट | budget | presupuesto | orcamento | zeitplan |
        calendrier | calendario | cronograma | 预算 | 時間表 | 予算
    "),
    Line(D::Deliverable, None, "
        detailed | in detail | complete | full | report | essay | article | proposal | presentation | document | documentation | guide |
        tutorial | business case | test suite | unit tests | strategy | roadmap | framework | with examples | with tests |
        with code examples | and recommend | and propose | and suggest | and explain | and identify | and justify | key risks | risks |
        mitigation* | stakeholder* | executive summary | words | pages | chapter | novel | screenplay | curriculum | week | weeks |
        month | months | quarter | ausfuhrlich* | detailliert* | bericht | aufsatz | artikel | leitfaden | vollstandig* | risiken |
        detaille* | en detail | rapport | dissertation | essai | complet | risques | detallad* | en detalle | informe | ensayo |
        articulo | guia | complet* | riesgos | detalhad* | em detalhes | relatorio | ensaio | redacao | artigo | riscos | 详细 | 报告 |
        文章 | 完整 | 指南 | 风险 | 詳しく | 詳細 | レポート | 報告書 | 完全な | ガイド | リスク | विस्तृत | विस्तार से | रिपोर्ट |
        निबंध | पूर्ण | जोखिम | подробн* | отчет | эссе | полный
    "),

    // Only for the category.
    Line(D::Mention, Some(C::Vision), "
        attached photo | attached picture | attached image | attached images | photo | photos | screenshots | mockup* | scanned |
        satellite image* | mri | x-ray | picture | pictures | eingescannt* | foto | fotos | abbildung | photographie | cette photo |
        cette capture | imagen adjunta | captura de pantalla | imagem anexa | captura de tela | 照片 | 截图 | 图中 | 图里 | 写真 |
        スクリーンショット | तस्वीर | फोटो | स्क्रीनशॉट | this image | the image | in this picture | this photo | the photo | screenshot |
        this diagram | the attached image | this chart | dieses bild | auf dem bild | cette image | esta imagen | esta imagem | 这张图 |
        图片 | この画像 | 画像 | इस तस्वीर | चित्र
    "),
    Line(D::Constraints, Some(C::InstructionFollowing), "
        reply with | respond with | answer in json | output only | as json | in json | valid json | as a table | in a table | all caps |
        no punctuation | no commas | starting with the letter | do not use the | without using the letter | each line | each sentence |
        exactly three | exactly five | exactly 3 | exactly 5 | word count | antworte nur | antworte mit | reponds uniquement |
        reponds avec | responde solo | responde unicamente | responda apenas | 只回答 | 只输出 | のみで答え | だけで答え | केवल
    "),
    Line(D::Constraints, Some(C::Multilingual), "
        german, french | french, german | french and german | english, french | cross-lingual | multilingual* | languages | sprachen |
        langues | idiomas | linguas | 几种语言 | 多种语言 | 语言版本 | 言語で | か国語 | भाषाओं | in both | both english and | bilingual |
        multilingual | in three languages | several languages | multiple languages | localiz* | locale* | zweisprachig | mehrsprachig* |
        bilingue | multilingue | plurilingue | 双语 | 多语言 | バイリンガル | 多言語 | द्विभाषी | बहुभाषी
    "),
];
